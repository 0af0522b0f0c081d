package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// moduleFiles are the files of a kernel's modules called names and of what they
// depend on, which comes before them. Those that are no modules of this kernel
// are left out.
func moduleFiles(dir string, names []string) (files []string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, f := range found {
		byName[moduleName(f)] = f
	}
	var add func(name string) error
	add = func(name string) error {
		file := byName[strings.ReplaceAll(name, "-", "_")]
		if file == "" || slices.Contains(files, file) {
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, after, is := bytes.Cut(b, []byte("\x00depends=")); is {
			names, _, _ := bytes.Cut(after, []byte{0})
			for _, n := range strings.FieldsFunc(string(names), func(r rune) bool { return r == ',' }) {
				if err := add(n); err != nil {
					return err
				}
			}
		}
		files = append(files, file)
		return nil
	}
	for _, m := range names {
		if err := add(m); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// moduleName is what the kernel calls the module in a file.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}
