package qmp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Save stops the guest and writes the state of its devices, not its memory, to
// file. The memory must be in a shared file (x-ignore-shared): that file and
// this one then hold the guest.
func (c *Conn) Save(ctx context.Context, file *os.File) error {
	if err := c.Run(ctx, "stop", nil, nil); err != nil {
		return err
	}
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	caps := map[string]any{"capabilities": []capability{{"x-ignore-shared", true}}}
	if err := c.Run(ctx, "migrate-set-capabilities", caps, nil); err != nil {
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
