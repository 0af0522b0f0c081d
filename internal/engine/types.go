package engine

import (
	"time"
)

// RemoveOptions say how Remove goes about it.
type RemoveOptions struct {
	Force   bool // kills a running container first
	Volumes bool // removes its anonymous volumes too
}

// ListOptions choose what List shows.
type ListOptions struct {
	All     bool // also those that do not run
	Limit   int  // the newest so many, running or not; 0: no limit
	Filters map[string]map[string]bool
	Size    bool // fills in sizes, which takes time
}

// AttachOptions choose what an attached client sees.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Logs                  bool // what was written before, first
	Stream                bool // what is written from now on
}

// LogsOptions choose what Logs shows. Tail is the number of last lines;
// negative means all.
type LogsOptions struct {
	Stdout, Stderr     bool
	Follow, Timestamps bool
	Details            bool
	Since, Until       time.Time
	Tail               int
}

// ExtractOptions say how Extract treats what is there and whose files become.
type ExtractOptions struct {
	NoOverwriteDirNonDir bool
	CopyUIDGID           bool
}
