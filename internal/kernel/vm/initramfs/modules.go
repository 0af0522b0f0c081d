package initramfs

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/abode-run/abode/internal/kernel/vm/kernels"
)

const maxModule = 128 << 20

// A Module is one that a guest gets.
type Module struct {
	Name    string // with underscores, as the kernel calls it
	Data    []byte // the ELF file, not compressed
	Depends []string
	Aliases []string
}

// Modules finds the modules called names and all that they depend on, and
// returns each once, after those that it needs. A name may end in "*". Names
// that have no file are left out: a kernel may have them built in.
func Modules(dir string, names []string) ([]Module, error) {
	files, err := index(dir)
	if err != nil {
		return nil, err
	}
	var order []Module
	state := map[string]int{} // 1: under way, 2: done
	var visit func(name string) error
	visit = func(name string) error {
		name = normal(name)
		switch state[name] {
		case 2:
			return nil
		case 1:
			return fmt.Errorf("kernel module %s depends on itself", name)
		}
		file, ok := files[name]
		if !ok {
			return nil
		}
		state[name] = 1
		m, err := load(name, file)
		if err != nil {
			return fmt.Errorf("cannot read kernel module %s: %w", file, err)
		}
		for _, d := range m.Depends {
			if err := visit(d); err != nil {
				return err
			}
		}
		state[name] = 2
		order = append(order, m)
		return nil
	}
	for _, n := range names {
		for _, n := range expand(n, files) {
			if err := visit(n); err != nil {
				return nil, err
			}
		}
	}
	return order, nil
}

// expand returns the modules that a name with a "*" at its end stands for, sorted.
func expand(name string, files map[string]string) []string {
	prefix, ok := strings.CutSuffix(name, "*")
	if !ok {
		return []string{name}
	}
	var found []string
	for n := range files {
		if strings.HasPrefix(n, prefix) {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found
}

// normal is a module's name as the kernel has it; files and depends= may use hyphens.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// index maps the names of all modules below dir to their files.
func index(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, _, ok := strings.Cut(e.Name(), ".ko"); ok && e.Type().IsRegular() {
			files[normal(name)] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the kernel's modules: %w", err)
	}
	return files, nil
}

func load(name, file string) (Module, error) {
	f, err := os.Open(file)
	if err != nil {
		return Module{}, err
	}
	defer f.Close()
	_, ext, _ := strings.Cut(filepath.Base(file), ".ko")
	r, err := kernels.Decompress(ext, f)
	if err != nil {
		return Module{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule))
	if err != nil {
		return Module{}, err
	}
	m := Module{Name: name, Data: data}
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return Module{}, err
	}
	sec := e.Section(".modinfo")
	if sec == nil {
		return Module{}, fmt.Errorf("it has no .modinfo section")
	}
	info, err := sec.Data()
	if err != nil {
		return Module{}, err
	}
	for _, field := range strings.Split(string(info), "\x00") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					m.Depends = append(m.Depends, d)
				}
			}
		case "alias":
			m.Aliases = append(m.Aliases, value)
		}
	}
	return m, nil
}
