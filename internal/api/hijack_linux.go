package api

import (
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// losesEarly tells clients by their User-Agent that lose what comes together
// with the response's header: docker-py, and docker-compose 1 with it, reads the
// header through a buffer and the stream below it. dockerd is seldom so quick.
func losesEarly(agent string) bool {
	return strings.Contains(agent, "docker-sdk-python/") || strings.Contains(agent, "docker-compose/1.")
}

// headerTime is how long such a client may take to read the header.
const headerTime = 5 * time.Second

// awaitRead waits until the peer of a unix socket has read all that was written
// (SIOCOUTQ, unix(7)). Of other sockets that cannot be known.
func awaitRead(conn net.Conn) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	pause := 20 * time.Microsecond
	for deadline := time.Now().Add(headerTime); time.Now().Before(deadline); time.Sleep(pause) {
		left := 0
		err := raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil || left == 0 {
			return
		}
		pause = min(2*pause, 5*time.Millisecond)
	}
}
