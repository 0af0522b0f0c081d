// Package reach finds out which of the kernel's system calls a process can
// still make: it reads the seccomp filters that are installed on the process
// and runs them for each system call, with all values of the arguments at once.
package reach

//go:generate go run gen.go
