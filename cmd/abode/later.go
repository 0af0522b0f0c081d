package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newLater makes a command that Docker has and abode has not yet: who tries it
// learns that nothing is broken, and what to do now. It is not in the help,
// and needs no engine.
func newLater(name, what, instead string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Hidden:             true,
		DisableFlagParsing: true, // whatever its flags are
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("cannot %s yet; a later version will. %s", what, instead)
		},
	}
}

func newBuild(*app) *cobra.Command {
	return newLater("build", "build images", "Build with BuildKit or buildah, then 'abode load' the result, or 'abode pull' it from a registry")
}
