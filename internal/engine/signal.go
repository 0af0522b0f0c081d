package engine

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Real-time signals as the C libraries number them.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// parseSignal reads a signal as kill(1) takes it: a number, or a name with or
// without SIG, such as RTMIN+3.
func parseSignal(s string) (int, error) {
	bad := func() (int, error) { return 0, invalid("Invalid signal: %s", s) }
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > sigRTMax {
			return bad()
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for prefix, base := range map[string]int{"RTMIN": sigRTMin, "RTMAX": sigRTMax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		n := 0
		if rest != "" {
			var err error
			if n, err = strconv.Atoi(rest); err != nil || rest[0] >= '0' && rest[0] <= '9' {
				return bad()
			}
		}
		if base+n < sigRTMin || base+n > sigRTMax {
			return bad()
		}
		return base + n, nil
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return int(n), nil
	}
	return bad()
}
