package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/containerd/errdefs"
)

// metaPackage depends on the newest kernel that a distribution makes for
// virtual machines.
var metaPackages = map[string][]string{
	"amd64": {"linux-image-cloud-amd64", "linux-image-kvm"}, // Debian, Ubuntu
}

var versionRE = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~-]{0,63}$`)

// Install downloads the distribution's own kernel for virtual machines with
// apt, from the sources that the host is configured with, which checks its
// signature and hashes, and adds it to the store. Nothing is installed on the
// host. version "" is the newest; else a release as List shows it.
func (s *Store) Install(ctx context.Context, version string, progress Progress) (Kernel, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return Kernel{}, fmt.Errorf("this host has no apt-get: download a Debian linux-image-cloud-amd64 package and run %q: %w",
			"abode kernel import FILE.deb", errdefs.ErrFailedPrecondition)
	}
	if version != "" && !versionRE.MatchString(version) {
		return Kernel{}, fmt.Errorf("%q is not a kernel version: %w", version, errdefs.ErrInvalidArgument)
	}
	progress.say("looking for a kernel package")
	pkg, err := findPackage(ctx, version)
	if err != nil {
		progress.say("reading the package lists (apt-get update)")
		if _, uerr := apt(ctx, "", "apt-get", "-q", "update"); uerr != nil {
			return Kernel{}, errors.Join(err, uerr)
		}
		if pkg, err = findPackage(ctx, version); err != nil {
			return Kernel{}, err
		}
	}
	release := strings.TrimPrefix(pkg, "linux-image-")
	if k, err := s.Get(release); err == nil {
		progress.say("kernel %s is there already", release)
		return k, nil
	}
	dir, err := os.MkdirTemp(s.dir, ".tmp-download-")
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot make a directory for the download: %w", err)
	}
	defer os.RemoveAll(dir)
	progress.say("downloading %s", pkg)
	// The private directory is not readable for apt's own user; as root apt
	// then downloads by itself, which its sandbox option says without a warning.
	download := func() error {
		_, err := apt(ctx, dir, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", pkg)
		return err
	}
	if err := download(); err != nil {
		// The lists may be older than what the mirror still has.
		progress.say("reading the package lists (apt-get update)")
		if _, uerr := apt(ctx, "", "apt-get", "-q", "update"); uerr != nil {
			return Kernel{}, errors.Join(err, uerr)
		}
		if pkg2, err2 := findPackage(ctx, version); err2 == nil {
			pkg = pkg2
		}
		if err := download(); err != nil {
			return Kernel{}, err
		}
	}
	debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(debs) != 1 {
		return Kernel{}, fmt.Errorf("apt-get download of %s left %d packages: %w", pkg, len(debs), errdefs.ErrInternal)
	}
	return s.ImportDeb(ctx, debs[0], "", progress)
}

// findPackage names the kernel package itself, which the meta package depends on.
func findPackage(ctx context.Context, version string) (string, error) {
	if version != "" {
		pkg := "linux-image-" + version
		_, err := apt(ctx, "", "apt-cache", "show", "--no-all-versions", pkg)
		return pkg, err
	}
	metas := metaPackages[runtime.GOARCH]
	if len(metas) == 0 {
		return "", fmt.Errorf("there is no guest kernel package for %s yet: %w", runtime.GOARCH, errdefs.ErrNotImplemented)
	}
	var errs []error
	for _, meta := range metas {
		out, err := apt(ctx, "", "apt-cache", "depends", "--important", meta)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for line := range strings.Lines(out) {
			_, dep, ok := strings.Cut(strings.TrimSpace(line), "Depends: ")
			if ok && strings.HasPrefix(dep, "linux-image-") && versionRE.MatchString(strings.TrimPrefix(dep, "linux-image-")) {
				return dep, nil
			}
		}
		errs = append(errs, fmt.Errorf("package %s depends on no kernel", meta))
	}
	return "", fmt.Errorf("cannot find a kernel package: %w: %w", errors.Join(errs...), errdefs.ErrNotFound)
}

// apt runs one of apt's programs, without a shell, and returns what it wrote.
func apt(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		text := strings.TrimSpace(errs.String())
		if len(text) > 2000 {
			text = text[len(text)-2000:]
		}
		return "", fmt.Errorf("%s failed: %w: %s", strings.Join(args, " "), err, text)
	}
	return out.String(), nil
}
