// Package version holds what `version` prints of this build.
package version

// Version is set by the linker: a tag, or a tag with a commit.
var Version = "dev"
