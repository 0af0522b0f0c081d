package procfs

import (
	"os"
	"strconv"
	"testing"
)

func TestStat(t *testing.T) {
	f := Stat([]byte("1 (a ) 9 (b) S 2 3\n"))
	if len(f) != 3 || f[0] != "S" || f[2] != "3" {
		t.Errorf("%q", f)
	}
	if f := Stat([]byte("1 a S 2")); f != nil {
		t.Errorf("%q of what is no stat file", f)
	}
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	if f := Stat(b); f[1] != strconv.Itoa(os.Getppid()) {
		t.Errorf("the parent is %s", f[1])
	}
}
