package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// entry is a command at the top. Its name is known without making it,
// because making them all takes longer than many of them run.
type entry struct {
	name, group string
	make        func(*app) *cobra.Command
}

const (
	groupContainers = "containers"
	groupImages     = "images"
	groupRest       = "rest"
)

// entries are all commands at the top.
var entries = []entry{
	{"run", groupContainers, newRun},
	{"create", groupContainers, newCreate},
	{"start", groupContainers, newStart},
	{"stop", groupContainers, newStop},
	{"restart", groupContainers, newRestart},
	{"kill", groupContainers, newKill},
	{"pause", groupContainers, newPause},
	{"unpause", groupContainers, newUnpause},
	{"exec", groupContainers, newExec},
	{"attach", groupContainers, newAttach},
	{"logs", groupContainers, newLogs},
	{"ps", groupContainers, func(a *app) *cobra.Command { return newPs(a, "ps") }},
	{"inspect", groupContainers, newInspect},
	{"top", groupContainers, newTop},
	{"stats", groupContainers, newStats},
	{"compare", groupContainers, newCompare},
	{"port", groupContainers, newPort},
	{"diff", groupContainers, newDiff},
	{"cp", groupContainers, newCp},
	{"export", groupContainers, newExport},
	{"rename", groupContainers, newRename},
	{"update", groupContainers, newUpdate},
	{"wait", groupContainers, newWait},
	{"rm", groupContainers, newRm},
	{"container", groupContainers, newContainer},
	{"commit", groupContainers, newCommit},

	{"pull", groupImages, newPull},
	{"images", groupImages, func(a *app) *cobra.Command { return newImages(a, "images") }},
	{"tag", groupImages, newTag},
	{"history", groupImages, newHistory},
	{"rmi", groupImages, func(a *app) *cobra.Command { return newRmi(a, "rmi") }},
	{"load", groupImages, newLoad},
	{"save", groupImages, newSave},
	{"import", groupImages, newImport},
	{"login", groupImages, newLogin},
	{"logout", groupImages, newLogout},
	{"image", groupImages, newImage},
	{"build", groupImages, newBuild},
	{"push", groupImages, newPush},

	{"volume", groupRest, newVolume},
	{"network", groupRest, newNetwork},
	{"kernel", groupRest, newKernel},
	{"system", groupRest, newSystem},
	{"events", groupRest, newEvents},
	{"info", groupRest, newInfo},
	{"version", groupRest, newVersion},

	{gaugeName, groupRest, newCompareGauge},
}

// entriesFor are those that a command line needs: the one that it names, or
// all when it names none of them, for help, completion and suggestions.
func entriesFor(args []string) []entry {
	name := firstWord(args)
	for i := range entries {
		if entries[i].name == name {
			return entries[i : i+1]
		}
	}
	return entries
}

// firstWord is the first argument after the flags that stand before the
// command, or "" when there are others than --host.
func firstWord(args []string) string {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--host" || arg == "-H":
			i++
		case strings.HasPrefix(arg, "--host=") || strings.HasPrefix(arg, "-H") && len(arg) > 2:
		case strings.HasPrefix(arg, "-"):
			return ""
		default:
			return arg
		}
	}
	return ""
}
