// Command abode-agent creates, watches and ends containers on the kernel that
// it stands on: a host process on the host's kernel, PID 1 in a guest.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/agent/guest"
	"github.com/abode-run/abode/internal/agent/server"
	"github.com/abode-run/abode/internal/runtime"
	"github.com/abode-run/abode/internal/share"
	shareguest "github.com/abode-run/abode/internal/share/guest"
	"github.com/abode-run/abode/internal/version"
)

func main() {
	runtime.Stage()  // does not return in a stage of a container
	guest.Modprobe() // does not return when the kernel of a guest wants a module
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	// The process that serves shares is PID 1 of a namespace too.
	if os.Getpid() == 1 && command != "share-jail" {
		command = "guest"
	}
	var err error
	switch command {
	case "host":
		err = host(os.Args[2:])
	case "guest":
		err = runGuest()
	case "share":
		err = share.Main(os.Args[2:])
	case "share-jail":
		err = share.JailMain(os.Args[2:])
	case "version":
		fmt.Println(version.Version)
	default:
		fmt.Fprintln(os.Stderr, "usage: abode-agent host --run DIR | share --socket PATH --share TAG=PATH[:ro]... | version")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "abode-agent:", err)
		os.Exit(1)
	}
}

// runGuest is the life of PID 1 of a guest.
func runGuest() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return guest.Run(log, func(h guest.Hooks) (guest.Server, error) {
		shares := shareguest.NewPort(guest.ShareChannel())
		r, err := runtime.New(runtime.Config{Dir: "/run/abode", CgroupParent: "abode", Log: log, Share: shares.Open})
		if err != nil {
			return nil, err
		}
		// A template has both ready: the one with the guest's interface, and
		// the one for --network none.
		for _, nic := range []string{"eth0", ""} {
			if _, err := r.Prepare(context.Background(), &agent.PrepareRequest{NIC: nic}); err != nil {
				log.Warn("containers start slower", "error", err)
			}
		}
		return server.New(server.Config{Log: log, Runtime: r, Guest: true, Wake: h.Wake, Shutdown: h.Shutdown}), nil
	})
}
