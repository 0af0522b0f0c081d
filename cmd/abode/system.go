package main

import "github.com/spf13/cobra"

// Docker's nouns: the same commands again, under the thing they are about.

func newContainer(a *app) *cobra.Command {
	c := group("container", "Manage containers",
		newRun(a), newCreate(a), newStart(a), newStop(a), newRestart(a), newKill(a), newPause(a), newUnpause(a),
		newExec(a), newAttach(a), newLogs(a), newPs(a, "ls", "ps", "list"), newInspectOf(a, "container"), newTop(a),
		newStats(a), newPort(a), newDiff(a), newCp(a), newExport(a), newRename(a), newUpdate(a), newWait(a), newRm(a), newContainerPrune(a), newCommit(a))
	return c
}

func newImage(a *app) *cobra.Command {
	return group("image", "Manage images",
		newPull(a), newImages(a, "ls", "list"), newInspectOf(a, "image"), newHistory(a), newTag(a), newRmi(a, "rm", "remove"),
		newLoad(a), newSave(a), newImport(a), newImagePrune(a), newBuild(a), newPush(a))
}

func newSystem(a *app) *cobra.Command {
	return group("system", "Look after the engine", newInfo(a), newEvents(a), newSystemPrune(a), newPing(a))
}
