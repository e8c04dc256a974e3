package voicebridge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const programEnds = 20 * time.Second

func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// running starts a program of this repository that prints one line of JSON once it is ready, and ends when its standard input
// does, which is at the end of the test. The line goes into ready.
func running(t *testing.T, ready any, name string, arguments ...string) {
	t.Helper()
	target, profile := os.Getenv("CARGO_TARGET_DIR"), os.Getenv("PROFILE")
	if target == "" {
		target = filepath.Join(repository(), "target")
	}
	if profile == "" {
		profile = "debug"
	}
	child := exec.Command(filepath.Join(target, profile, name), arguments...)
	child.Stderr = os.Stderr
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatalf("%v; `cargo build --workspace --bins` makes it", err)
	}
	t.Cleanup(func() {
		hangs := time.AfterFunc(programEnds, func() { child.Process.Kill() })
		defer hangs.Stop()
		input.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s ended at its start: %v", name, err)
	}
	if err := json.Unmarshal(line, ready); err != nil {
		t.Fatalf("%s: %v in %s", name, err, line)
	}
}

// ask posts JSON and reads the JSON that answers.
func ask(url string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	response, err := http.Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, said)
	}
	return json.Unmarshal(said, answer)
}

// post is ask for what must succeed.
func post(t *testing.T, url string, body, answer any) {
	t.Helper()
	if err := ask(url, body, answer); err != nil {
		t.Fatal(err)
	}
}
