package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"HOME": "/root", "EMPTY": ""}[name]
	return v, ok
}

func TestEnv(t *testing.T) {
	for _, c := range []struct {
		name   string
		file   string
		values []string
		want   []string
	}{
		{"values", "", []string{"A=1", "B=", "C=a=b", "D= x "}, []string{"A=1", "B=", "C=a=b", "D= x "}},
		{"the caller's", "", []string{"HOME", "EMPTY", "UNSET"}, []string{"HOME=/root", "EMPTY="}},
		{"a file, then values", "A=file\nB=2\n", []string{"A=flag"}, []string{"A=file", "B=2", "A=flag"}},
		{"comments and empty lines", "# c\n\n  # c too\nA=1 # not one\n", nil, []string{"A=1 # not one"}},
		{"quotes stay", `A="1"` + "\nB='2'\n", nil, []string{`A="1"`, "B='2'"}},
		{"spaces of a value stay", "  A= 1 \n", nil, []string{"A= 1 "}},
		{"the caller's in a file", "HOME\nUNSET\n", nil, []string{"HOME=/root"}},
		{"a byte order mark", "\xef\xbb\xbfA=1\n", nil, []string{"A=1"}},
		{"no newline at the end", "A=1", nil, []string{"A=1"}},
		{"a long line", "A=" + strings.Repeat("x", 1<<17), nil, []string{"A=" + strings.Repeat("x", 1<<17)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Env([]string{write(t, c.file)}, c.values, lookup)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEnvRefuses(t *testing.T) {
	for _, c := range []struct{ file, value, want string }{
		{"", "=x", "invalid environment variable: =x"},
		{"", "", "invalid environment variable: "},
		{"A B=1\n", "A=1", "variable 'A B' contains whitespaces"},
		{"=1\n", "A=1", "no variable name on line '=1'"},
		{"A=\xff\n", "A=1", "invalid utf8 bytes at line 1"},
	} {
		_, err := Env([]string{write(t, c.file)}, []string{c.value}, lookup)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: the error is %v, want %q", c.file, c.value, err, c.want)
		}
	}
	if _, err := Env([]string{"/does/not/exist"}, nil, lookup); !os.IsNotExist(err) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestLabels(t *testing.T) {
	got, err := Labels([]string{write(t, "a=file\nb\n"), write(t, "a=second\n")}, []string{"c=1", "d", "e=x=y"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "second", "b": "", "c": "1", "d": "", "e": "x=y"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := Labels(nil, []string{"=1"}); err == nil {
		t.Error("a label without a key is taken")
	}
}
