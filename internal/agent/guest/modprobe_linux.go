package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Lists that internal/kernel/vm/initramfs writes.
const (
	lazyList  = moduleDir + "/lazy"  // lines "NAME DEPENDENCY…"
	aliasList = moduleDir + "/alias" // lines "ALIAS NAME"
)

// Modprobe does what the kernel wants when it executes this program as
// /sbin/modprobe: it loads a module that a system call was found to need
// (request_module in kernel/kmod.c: "modprobe -q -- NAME"). It exits then, and
// returns when the program was called by another name. main calls it first.
func Modprobe() {
	if filepath.Base(os.Args[0]) != "modprobe" {
		return
	}
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if err := loadLazy(arg); err != nil {
			fmt.Fprintln(os.Stderr, "modprobe:", err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// loadLazy loads the modules that a name or alias stands for and what they need.
func loadLazy(want string) error {
	want = strings.ReplaceAll(want, "-", "_")
	depends := map[string][]string{}
	for line := range lines(lazyList) {
		f := strings.Fields(line)
		depends[f[0]] = f[1:]
	}
	var names []string
	if _, ok := depends[want]; ok {
		names = append(names, want)
	}
	for line := range lines(aliasList) {
		if alias, name, _ := strings.Cut(line, " "); alias == want || strings.Contains(alias, "*") && match(alias, want) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("this guest has no kernel module %s", want)
	}
	done := map[string]bool{}
	var load func(name string) error
	load = func(name string) error {
		needs, ok := depends[name]
		if !ok || done[name] {
			return nil // loaded at boot, or just now
		}
		done[name] = true
		for _, n := range needs {
			if err := load(n); err != nil {
				return err
			}
		}
		if err := loadModule(filepath.Join(moduleDir, name+".ko")); err != nil {
			return fmt.Errorf("cannot load kernel module %s: %w", name, err)
		}
		return nil
	}
	for _, n := range names {
		if err := load(n); err != nil {
			return err
		}
	}
	return nil
}

func match(pattern, s string) bool {
	ok, err := filepath.Match(pattern, s)
	return ok && err == nil
}

// lines yields the lines of a list that are not empty; none without the list.
func lines(path string) func(func(string) bool) {
	b, _ := os.ReadFile(path)
	return func(yield func(string) bool) {
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
	}
}
