package voicebridge

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// localKey is what a control plane without a configured key wants, and keeps in a file of its user's own. Empty for a control
// plane elsewhere, and if none was made.
func localKey(address string) (string, error) {
	if !isThisMachine(address) {
		return "", nil
	}
	file := localKeyFile()
	if file == "" {
		return "", nil
	}
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("voicebridge: the local key: %w", err)
	}
	return strings.TrimSpace(string(key)), nil
}

// localKeyFile is where it is: see docs/access.md, "Without any key".
func localKeyFile() string {
	const name = "local-key"
	if folder := strings.TrimSpace(os.Getenv("VOICEBRIDGE_STATE_DIR")); folder != "" {
		return filepath.Join(folder, name)
	}
	if states := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(states) {
		return filepath.Join(states, "voicebridge", name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local/state/voicebridge", name)
}

func isThisMachine(address string) bool {
	parts, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := parts.Hostname()
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
