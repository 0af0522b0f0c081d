package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// writeSmallFiles writes the base's file system and, below it, so many files as
// a JavaScript project has: packages of twenty files, mostly of a kilobyte or
// two. It is the same at each call.
func writeSmallFiles(w io.Writer, base string, files int) error {
	f, err := os.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(w)
	for in := tar.NewReader(f); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	const perPackage = 20
	for i := range files {
		dir := fmt.Sprintf("app/node_modules/package-%d/lib/", i/perPackage)
		if i%perPackage == 0 {
			parts := strings.SplitAfter(dir, "/")
			for n := range parts[:len(parts)-1] {
				if n < 2 && i > 0 {
					continue // made with the first package
				}
				if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.Join(parts[:n+1], ""), Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
					return err
				}
			}
		}
		text := script(random)
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%smodule-%d.js", dir, i%perPackage), Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return out.Close()
}

// script is a text that compresses as programs do.
func script(random *rand.Rand) string {
	var s strings.Builder
	for range 4 + int(random.ExpFloat64()*25) {
		fmt.Fprintf(&s, "exports.name%d = function (value) { return require('package-%d').call(this, value, %#x); };\n", random.IntN(100), random.IntN(3000), random.Uint32())
	}
	return s.String()
}
