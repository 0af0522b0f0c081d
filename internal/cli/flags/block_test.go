package flags

import "testing"

func TestBlockDevices(t *testing.T) {
	for v, want := range map[string]uint64{"/dev/a:1mb": 1 << 20, "/dev/b:7": 7, "/dev/c:0": 0} {
		got, err := DeviceRates([]string{v}, true)
		if err != nil || len(got) != 1 || got[0].Rate != want || got[0].Path != v[:6] {
			t.Errorf("%s: %v, error %v", v, got, err)
		}
	}
	for _, v := range []string{"", "/dev/a", "/dev/a:", "a:1", "/dev/a:-1", "/dev/a:much"} {
		if got, err := DeviceRates([]string{v}, true); err == nil {
			t.Errorf("%q became %v", v, got)
		}
	}
	if got, err := DeviceRates([]string{"/dev/a:1mb"}, false); err == nil {
		t.Errorf("a size became the number %v", got)
	}
	if got, err := DeviceWeights([]string{"/dev/a:10", "/dev/b:0"}); err != nil || len(got) != 2 || got[0].Weight != 10 {
		t.Errorf("%v, error %v", got, err)
	}
	for _, v := range []string{"/dev/a:9", "/dev/a:1001", "/dev/a:x"} {
		if got, err := DeviceWeights([]string{v}); err == nil {
			t.Errorf("%q became %v", v, got)
		}
	}
}
