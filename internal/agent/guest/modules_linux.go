package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where internal/kernel/vm/initramfs puts modules.
const (
	moduleDir = "/lib/modules"
	eagerList = moduleDir + "/eager"
)

// loadModules loads, in the order of the list, what every guest needs, and
// frees the memory of the files.
func loadModules() error {
	b, err := os.ReadFile(eagerList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot read the list of modules: %w", err)
	}
	for name := range strings.FieldsSeq(string(b)) {
		file := filepath.Join(moduleDir, name+".ko")
		if err := loadModule(file); err != nil {
			return fmt.Errorf("cannot load kernel module %s: %w", name, err)
		}
		os.Remove(file)
	}
	return nil
}

// loadModule loads one module; one that is there already is fine, and so is
// one for hardware that is not (ENODEV, for instance a crypto accelerator).
func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if err == unix.EEXIST || err == unix.ENODEV {
		return nil
	}
	return err
}
