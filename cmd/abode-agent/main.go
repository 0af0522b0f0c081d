// Command abode-agent creates, watches and ends containers on the kernel that
// it stands on: a host process on the host's kernel, PID 1 in a guest.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "usage: abode-agent host|version")
	os.Exit(2)
}
