package stream

import (
	"os"
	"os/signal"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Forward passes every signal that the program gets to send, until stop is
// called: by name (SIGINT), or by number for the real-time ones. SIGCHLD and
// SIGPIPE are the program's own, as is SIGURG, which Go's scheduler uses;
// SIGWINCH is sent on as a size, not as a signal.
func Forward(send func(signal string)) (stop func()) {
	ch := make(chan os.Signal, 128)
	signal.Notify(ch)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-ch:
				if name := signalName(s); name != "" {
					send(name)
				}
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(ch)
		close(done)
	})
}

// signalName is the name under which s is sent to a container, or "".
func signalName(s os.Signal) string {
	n, ok := s.(unix.Signal)
	if !ok {
		return ""
	}
	switch n {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGWINCH:
		return ""
	}
	if name := unix.SignalName(n); name != "" {
		return name
	}
	return strconv.Itoa(int(n))
}
