package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/abode-run/abode/internal/erofs"
	"github.com/abode-run/abode/internal/kernel"
)

// Program is what a rehearsal runs: it ends with code 0.
const Program = "/bin/true"

// rehearsalName changes when what is in it should.
const rehearsalName = "rehearsal-1.erofs"

// rehearsalLayer returns the image of a rehearsal, made now or earlier.
func (p *Provider) rehearsalLayer(ctx context.Context) (kernel.Layer, error) {
	file := filepath.Join(p.cfg.Root, "vm", rehearsalName)
	fi, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeRehearsal(ctx, file); err == nil {
			fi, err = os.Stat(file)
		}
	}
	if err != nil {
		return kernel.Layer{}, fmt.Errorf("cannot make the image of a rehearsal: %w", err)
	}
	return kernel.Layer{Path: file, Size: fi.Size()}, nil
}

func makeRehearsal(ctx context.Context, file string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	program := trueProgram()
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "dev/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "proc/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "sys/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: Program[1:], Mode: 0o755, Size: int64(len(program))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := erofs.FromTar(ctx, f, &b, erofs.Options{}); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// trueProgram is a static ELF program for x86-64 Linux (elf(5)): one segment,
// which calls exit(0).
func trueProgram() []byte {
	code := []byte{0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05} // xor edi,edi; mov eax,60; syscall
	const head, base = 64 + 56, 0x400000
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put := func(v ...any) {
		for _, v := range v {
			_ = binary.Write(&b, binary.LittleEndian, v) // to memory
		}
	}
	size := uint64(head + len(code))
	put(uint16(2), uint16(62), uint32(1), uint64(base+head), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0))
	put(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(4096))
	b.Write(code)
	return b.Bytes()
}
