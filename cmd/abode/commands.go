package main

import "github.com/spf13/cobra"

// The commands that stand at the top, in the order of the help text.

func containerCommands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newRun(a), newCreate(a), newStart(a), newStop(a), newRestart(a), newKill(a), newPause(a), newUnpause(a),
		newExec(a), newAttach(a), newLogs(a), newPs(a, "ps"), newInspect(a), newTop(a), newStats(a), newPort(a),
		newDiff(a), newCp(a), newExport(a), newRename(a), newUpdate(a), newWait(a), newRm(a), newContainer(a),
	}
}

func imageCommands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newPull(a), newImages(a, "images"), newTag(a), newHistory(a), newRmi(a, "rmi"),
		newLoad(a), newSave(a), newImport(a), newLogin(a), newLogout(a), newImage(a),
	}
}

func restCommands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newVolume(a), newNetwork(a), newKernel(a), newSystem(a), newEvents(a), newInfo(a), newVersion(a),
	}
}
