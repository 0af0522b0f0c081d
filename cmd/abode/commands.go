package main

import "github.com/spf13/cobra"

func containerCommands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newRun(a), newCreate(a), newExec(a), newPs(a, "ps"), newLogs(a), newRm(a),
	}
}

func imageCommands(a *app) []*cobra.Command {
	return []*cobra.Command{newPull(a), newLoad(a), newSave(a), newImport(a)}
}

func restCommands(a *app) []*cobra.Command { return nil }
