package qmp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// ignoreShared leaves memory out that is in a shared file. Both sides must say it.
var ignoreShared = Command{"migrate-set-capabilities", map[string]any{
	"capabilities": []map[string]any{{"capability": "x-ignore-shared", "state": true}}}}

// Load makes a hypervisor that was started with "-incoming defer" read the
// state of its devices from its own descriptor fd, and run.
func (c *Conn) Load(ctx context.Context, fd string) error {
	return c.Begin(ctx, ignoreShared, Command{"migrate-incoming", map[string]any{"uri": "fd:" + fd}})
}

// Save writes the state of the guest's devices, not its memory, to file, and
// leaves it stopped. It is not stopped before, because a guest that was saved
// while stopped begins stopped. The memory must be in a shared file (x-ignore-shared): that file and
// this one then hold the guest.
func (c *Conn) Save(ctx context.Context, file *os.File) error {
	if err := c.Begin(ctx, ignoreShared); err != nil {
		return err
	}
	if err := c.RunFile(ctx, file, "getfd", map[string]any{"fdname": "state"}, nil); err != nil {
		return err
	}
	if err := c.Run(ctx, "migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	for {
		var s struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := c.Run(ctx, "query-migrate", nil, &s); err != nil {
			return err
		}
		switch s.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return errors.New("cannot save the guest: " + s.Status + " " + s.Error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot save the guest: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
