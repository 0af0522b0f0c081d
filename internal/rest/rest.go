// Package rest gives memory back to the system when a process comes to rest.
// Go keeps what it has freed for the next allocation and returns it little by
// little, and it collects nothing while nothing is allocated: what a busy
// moment leaves would stay for hours.
package rest

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// after is how long nothing has to have been done.
const after = time.Second

// worth is how much has to have been allocated since the last time, in bytes.
// Less is not worth a collection: a client that asks for a list every few
// seconds does not make the process collect every few seconds.
const worth = 512 << 10

// A Keeper watches one process. Its methods may be called concurrently.
type Keeper struct {
	timer *time.Timer
	mu    sync.Mutex
	total uint64 // allocated until the last time
}

// New returns the Keeper of this process, whose start is something done.
func New() *Keeper {
	k := &Keeper{}
	k.timer = time.AfterFunc(after, k.free)
	return k
}

// Done says that something was done just now. It returns at once.
func (k *Keeper) Done() { k.timer.Reset(after) }

// free gives back what is not used. What goes on meanwhile is slowed down for
// a few milliseconds as by any collection, not stopped.
func (k *Keeper) free() {
	if !k.mu.TryLock() {
		return // the one at work has just begun
	}
	defer k.mu.Unlock()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.TotalAlloc-k.total < worth {
		return
	}
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	k.total = m.TotalAlloc
}
