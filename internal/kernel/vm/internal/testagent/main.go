// Command testagent is an agent for the guests of this package's tests: the
// real start, channel and server, and nothing that creates containers.
package main

import (
	"log/slog"
	"os"

	"github.com/abode-run/abode/internal/agent/guest"
	"github.com/abode-run/abode/internal/agent/server"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := guest.Run(log, func(h guest.Hooks) (guest.Server, error) {
		return server.New(server.Config{Log: log, Guest: true, Wake: h.Wake, Shutdown: h.Shutdown}), nil
	})
	log.Error("cannot run the guest", "err", err)
	os.Exit(1)
}
