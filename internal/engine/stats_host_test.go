package engine

import (
	"os"
	"testing"
)

func TestHostUse(t *testing.T) {
	const rollup = "00400000-7ffc25f6e000 ---p 00000000 00:00 0    [rollup]\nRss:     884 kB\nPss:     385 kB\nPss_Anon:  301 kB\n"
	if got := pss(rollup); got != 385<<10 {
		t.Errorf("PSS is %d", got)
	}
	stat := []byte("1 (a ) 9 (b) S 2 3 4 5 6 7 8 9 10 11 120 30 14 15\n")
	if got := cpuTime(stat); got != 1.5e9 {
		t.Errorf("the CPU time is %d", got)
	}
	for _, broken := range []string{"", "1 (a) S", ")"} {
		if pss(broken) != 0 || cpuTime([]byte(broken)) != 0 {
			t.Errorf("%q counts something", broken)
		}
	}
	one := useOf([]int{os.Getpid()})
	if one.memory == 0 {
		t.Error("this test takes no memory")
	}
	if none := useOf([]int{-1}); none != (hostUse{}) {
		t.Errorf("no process takes %+v", none)
	}
}
