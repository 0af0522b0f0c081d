package runtime

import (
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/procfs"
)

// orphanPause is how long a dead child that nobody here waits for is left
// alone: whoever started it with another package reaps it well before.
const orphanPause = time.Second

// reapOrphans reaps processes whose parents have ended, as PID 1 must. It
// never takes an exit from somebody in this process who waits for it.
func (r *Runtime) reapOrphans() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	seen := map[int]bool{}
	for range signals {
		for again := true; again; {
			time.Sleep(orphanPause)
			zombies := zombieChildren()
			again = len(zombies) > 0
			for pid := range seen {
				if zombies[pid] {
					unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
					delete(zombies, pid)
				}
			}
			seen = zombies
		}
	}
}

// zombieChildren lists dead children of this process that nobody here waits for.
func zombieChildren() map[int]bool {
	found := map[int]bool{}
	names, _ := os.ReadDir("/proc")
	self := strconv.Itoa(os.Getpid())
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil || owned.has(pid) {
			continue
		}
		b, err := os.ReadFile("/proc/" + n.Name() + "/stat")
		if err != nil {
			continue
		}
		if f := procfs.Stat(b); len(f) > 1 && f[0] == "Z" && f[1] == self {
			found[pid] = true
		}
	}
	return found
}
