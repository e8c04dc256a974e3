package voicebridge

import (
	"os"
	"path/filepath"
	"testing"

	controlv1 "github.com/voicebridge/voicebridge/clients/go/gen/voicebridge/control/v1"
)

// Where no local key is, whatever this machine has.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "voicebridge-go-")
	if err != nil {
		panic(err)
	}
	os.Setenv("VOICEBRIDGE_STATE_DIR", folder)
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

func putLocalKey(t *testing.T, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "local-key"), []byte("vb_local_7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkLocalKey(t *testing.T, address, want string) {
	t.Helper()
	if key, err := localKey(address); err != nil || key != want {
		t.Errorf("%s is shown %q, %v; expected %q", address, key, err, want)
	}
}

func TestTheLocalKeyIsForThisMachineOnly(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("VOICEBRIDGE_STATE_DIR", folder)
	checkLocalKey(t, "http://127.0.0.1:3100", "")
	putLocalKey(t, folder)
	for _, here := range []string{"http://127.0.0.1:3100", "http://localhost:3100", "http://LOCALHOST", "http://[::1]:3100"} {
		checkLocalKey(t, here, "vb_local_7")
	}
	for _, elsewhere := range []string{"https://voice.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example"} {
		checkLocalKey(t, elsewhere, "")
	}
}

func TestTheLocalKeyIsWhereTheControlPlaneKeepsIt(t *testing.T) {
	home, states := t.TempDir(), t.TempDir()
	t.Setenv("VOICEBRIDGE_STATE_DIR", "")
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", "relative/does/not/count")
	putLocalKey(t, filepath.Join(home, ".local/state/voicebridge"))
	checkLocalKey(t, "http://127.0.0.1:3100", "vb_local_7")
	t.Setenv("XDG_STATE_HOME", states)
	checkLocalKey(t, "http://127.0.0.1:3100", "")
	putLocalKey(t, filepath.Join(states, "voicebridge"))
	checkLocalKey(t, "http://127.0.0.1:3100", "vb_local_7")
}

func TestAClientWithoutAKeyShowsTheLocalOne(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("VOICEBRIDGE_STATE_DIR", folder)
	putLocalKey(t, folder)
	p := startPlane(t, nil)
	p.get = found
	for given, want := range map[string]string{"": "Bearer vb_local_7", "key-7": "Bearer key-7"} {
		if _, err := dial(t, p.url, WithAPIKey(given)).Calls.GetCall(t.Context(), &controlv1.GetCallRequest{}); err != nil {
			t.Fatal(err)
		}
		requests := p.requests()
		if key := requests[len(requests)-1].Get("authorization"); len(key) != 1 || key[0] != want {
			t.Errorf("authorization is %q, expected %q", key, want)
		}
	}
}
