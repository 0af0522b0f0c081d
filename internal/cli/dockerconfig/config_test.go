package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	helper "github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/registry"
)

func config(t *testing.T, content string) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sub", "config.json")
	if content != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

func TestGet(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	f, _ := config(t, fmt.Sprintf(`{"auths":{
		"https://index.docker.io/v1/":{"auth":%q},
		"example.org:5000":{"auth":%[1]q,"identitytoken":"token"},
		"https://old.example.org/v2/":{"username":"u","password":"p"},
		"broken.example.org":{"auth":"!"}}}`, auth))
	for host, want := range map[string]registry.AuthConfig{
		"docker.io":            {Username: "user", Password: "pass:word", ServerAddress: Hub},
		"index.docker.io":      {Username: "user", Password: "pass:word", ServerAddress: Hub},
		"":                     {Username: "user", Password: "pass:word", ServerAddress: Hub},
		"example.org:5000":     {Username: "user", Password: "pass:word", IdentityToken: "token", ServerAddress: "example.org:5000"},
		"old.example.org":      {Username: "u", Password: "p", ServerAddress: "old.example.org"},
		"unknown.example.org":  {ServerAddress: "unknown.example.org"},
		"https://example.org/": {ServerAddress: "example.org"},
	} {
		got, err := f.Get(host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", host, d)
		}
	}
	if _, err := f.Get("broken.example.org"); err == nil || !strings.Contains(err.Error(), "abode login broken.example.org") {
		t.Errorf("a broken entry gives %v", err)
	}
}

// What the CLI doesn't know in the file stays, whoever wrote it.
func TestSetKeepsTheRest(t *testing.T) {
	f, path := config(t, `{"HttpHeaders":{"X":"y"},"psFormat":"table","big":12345678901234567890,
		"auths":{"a.example.org":{"auth":"dTpw","note":{"of":"others"}},"b.example.org":{"auth":"dTpw"}}}`)
	inFile, err := f.Set(registry.AuthConfig{Username: "new", Password: "secret", ServerAddress: "a.example.org"})
	if err != nil || !inFile {
		t.Fatalf("Set is %v, %v", inFile, err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want 0600", st.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		HttpHeaders map[string]string
		PsFormat    string      `json:"psFormat"`
		Big         json.Number `json:"big"`
		Auths       map[string]struct {
			Auth string
			Note map[string]string
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.HttpHeaders["X"] != "y" || got.PsFormat != "table" || got.Big != "12345678901234567890" {
		t.Errorf("other fields are lost: %s", data)
	}
	if a := got.Auths["a.example.org"]; a.Note["of"] != "others" || a.Auth != base64.StdEncoding.EncodeToString([]byte("new:secret")) {
		t.Errorf("the entry is %+v", a)
	}
	if got.Auths["b.example.org"].Auth != "dTpw" {
		t.Error("another registry's entry is lost")
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if auth, err := again.Get("a.example.org"); err != nil || auth.Password != "secret" {
		t.Errorf("it reads back as %+v, %v", auth, err)
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/config.json.*"); left != nil {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestSetMakesTheFile(t *testing.T) {
	f, path := config(t, "")
	if _, err := f.Set(registry.AuthConfig{IdentityToken: "t", Username: "u", ServerAddress: "docker.io"}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v, %v", st.Mode(), err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := registry.AuthConfig{Username: "u", IdentityToken: "t", ServerAddress: Hub}
	if got, err := again.Get("docker.io"); err != nil || got != want {
		t.Errorf("it reads back as %+v, %v", got, err)
	}
}

// A config.json that is a link, as those kept with other dot files are,
// stays one.
func TestSetFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	if err := os.WriteFile(real, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	f, err := Load(link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Set(registry.AuthConfig{Username: "u", Password: "p", ServerAddress: "x.example.org"}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", st.Mode(), err)
	}
	if data, _ := os.ReadFile(real); !strings.Contains(string(data), "x.example.org") {
		t.Errorf("the link's target is %s", data)
	}
}

func TestErase(t *testing.T) {
	f, path := config(t, `{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"x.example.org":{}}}`)
	if found, err := f.Erase(""); err != nil || !found {
		t.Errorf("Erase is %v, %v", found, err)
	}
	if found, err := f.Erase(""); err != nil || found {
		t.Errorf("a second Erase is %v, %v", found, err)
	}
	data, _ := os.ReadFile(path)
	if strings.Contains(string(data), "index.docker.io") || !strings.Contains(string(data), "x.example.org") {
		t.Errorf("the file is %s", data)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, content := range []string{"[]", "{", `{"auths":[]}`, `{"credsStore":1}`} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error is %v", content, err)
		}
	}
}

// store is a credential helper in memory, behind the protocol of the real ones.
type store map[string]credentials.Credentials

type call struct {
	s      store
	action string
	in     io.Reader
}

func (c *call) Input(r io.Reader) { c.in = r }

func (c *call) Output() ([]byte, error) {
	b, err := io.ReadAll(c.in)
	if err != nil {
		return nil, err
	}
	switch c.action {
	case "store":
		var v credentials.Credentials
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		c.s[v.ServerURL] = v
		return nil, nil
	case "erase":
		delete(c.s, string(b))
		return nil, nil
	}
	v, ok := c.s[string(b)]
	if !ok {
		return []byte(credentials.NewErrCredentialsNotFound().Error()), errors.New("exit status 1")
	}
	return json.Marshal(v)
}

func TestHelpers(t *testing.T) {
	stores := map[string]store{"one": {}, "two": {}}
	old := helperProgram
	defer func() { helperProgram = old }()
	helperProgram = func(name string) helper.ProgramFunc {
		return func(args ...string) helper.Program { return &call{s: stores[name], action: args[0]} }
	}
	f, path := config(t, `{"credsStore":"one","credHelpers":{"x.example.org":"two"}}`)
	for _, c := range []struct {
		auth  registry.AuthConfig
		store string
	}{
		{registry.AuthConfig{Username: "u", Password: "hidden", ServerAddress: "docker.io"}, "one"},
		{registry.AuthConfig{Username: "u", Password: "hidden", ServerAddress: "x.example.org"}, "two"},
		{registry.AuthConfig{IdentityToken: "hidden", ServerAddress: "y.example.org"}, "one"},
	} {
		inFile, err := f.Set(c.auth)
		if err != nil || inFile {
			t.Fatalf("Set is %v, %v", inFile, err)
		}
		key := Key(c.auth.ServerAddress)
		if _, ok := stores[c.store][key]; !ok {
			t.Errorf("%s is not in helper %s", key, c.store)
		}
		want := c.auth
		want.ServerAddress = key
		if got, err := f.Get(c.auth.ServerAddress); err != nil || got != want {
			t.Errorf("it reads back as %+v, %v", got, err)
		}
	}
	if data, _ := os.ReadFile(path); strings.Contains(string(data), "hidden") || strings.Contains(string(data), base64.StdEncoding.EncodeToString([]byte("u:hidden"))) {
		t.Errorf("a secret is in the file: %s", data)
	}
	if got, err := f.Get("z.example.org"); err != nil || got.Username != "" {
		t.Errorf("unknown credentials are %+v, %v", got, err)
	}
	if _, err := f.Erase("x.example.org"); err != nil || len(stores["two"]) != 0 {
		t.Errorf("Erase left %v, %v", stores["two"], err)
	}
}
