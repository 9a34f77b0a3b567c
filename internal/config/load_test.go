package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

func vars(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { s, ok := m[name]; return s, ok }
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNoFileIsADeveloperSetUp(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := Read("", vars(nil))
	if err != nil {
		t.Fatal(err)
	}
	o := f.Options
	if f.Path != "" || !o.AutoCreate || o.PublicAddr != server.DefaultDevPublicAddr || o.APIAddr != server.DefaultAPIAddr || o.Data != server.DefaultData || o.Secrets == nil {
		t.Errorf("%+v", f)
	}
}

func TestWhichFile(t *testing.T) {
	t.Chdir(t.TempDir())
	named, inEnv := write(t, "named.yaml", "data: named"), write(t, "env.yaml", "data: env")
	tests := []struct{ path, env, want string }{
		{named, inEnv, filepath.Join(filepath.Dir(named), "named")},
		{"", inEnv, filepath.Join(filepath.Dir(inEnv), "env")},
		{"", "", "here"},
	}
	if err := os.WriteFile(DefaultFile, []byte("data: here"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		o, err := Load(tt.path, vars(map[string]string{EnvFile: tt.env}))
		if err != nil || o.Data != tt.want || o.AutoCreate {
			t.Errorf("%+v: %q %v", tt, o.Data, err)
		}
	}
}

func TestNamedFileMustExist(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, env := range []string{"", "missing.yaml"} {
		path := "missing.yaml"
		if env != "" {
			path = ""
		}
		_, err := Load(path, vars(map[string]string{EnvFile: env}))
		if tandem.CodeOf(err) != tandem.CodeNotFound || !strings.Contains(err.Error(), "missing.yaml") {
			t.Errorf("%v", err)
		}
	}
}

func TestVariablesWinOverTheFile(t *testing.T) {
	path := write(t, "tandem.yaml", "data: d\npublic: {listen: \":1\"}\napi: {listen: \"127.0.0.1:2\"}\n")
	o, err := Load(path, vars(map[string]string{EnvData: "/var/t", EnvPublic: ":3", EnvAPI: "127.0.0.1:4"}))
	if err != nil || o.Data != "/var/t" || o.PublicAddr != ":3" || o.APIAddr != "127.0.0.1:4" {
		t.Errorf("%+v %v", o, err)
	}
	_, err = Load(path, vars(map[string]string{EnvAPI: "nowhere"}))
	if want := `environment variable TANDEM_API: "nowhere" is not an address such as ":8080" or "127.0.0.1:8080"`; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestSecret(t *testing.T) {
	t.Setenv("TANDEM_TEST_SECRET", "from env")
	t.Setenv("TANDEM_TEST_EMPTY", "")
	file := write(t, "key", "from file\n")
	for ref, want := range map[string]string{"env:TANDEM_TEST_SECRET": "from env", "file:" + file: "from file"} {
		if got, err := Secret(ref); err != nil || got != want {
			t.Errorf("%s: %q %v", ref, got, err)
		}
	}
	large := write(t, "large", strings.Repeat("x", maxSecretBytes+1))
	for ref, want := range map[string]tandem.Code{
		"hunter2": tandem.CodeInvalid, "env:": tandem.CodeInvalid, "env:TANDEM_TEST_EMPTY": tandem.CodeInvalid,
		"env:TANDEM_TEST_MISSING": tandem.CodeNotFound, "file:" + file + ".not": tandem.CodeNotFound, "file:" + large: tandem.CodeInvalid,
	} {
		_, err := Secret(ref)
		if tandem.CodeOf(err) != want || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
