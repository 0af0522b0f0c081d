package kernel

import "errors"

// ErrGone says that a kernel that was placed is no longer there.
var ErrGone = errors.New("the kernel is gone")
