package seccomp

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	profiles "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Program returns the compiled program for a profile: the text of one in
// Docker's JSON form, or when it is empty Docker's default. Which rules of a
// profile count depends on the capabilities of the bounding set, in the form
// CAP_X. A program that was compiled before is returned again; it must not be
// changed.
func Program(profile string, capabilities []string) ([]byte, error) {
	caps := slices.Clone(capabilities)
	slices.Sort(caps)
	key := strings.Join(caps, " ")
	if profile == "" {
		if p, ok := compiled.Load(key); ok {
			return p.([]byte), nil
		}
	}
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	var sec *specs.LinuxSeccomp
	var err error
	if profile == "" {
		sec, err = profiles.GetDefaultProfile(spec)
	} else {
		sec, err = profiles.LoadProfile(profile, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the seccomp profile: %w", err)
	}
	if sec == nil {
		return nil, nil // an empty profile switches seccomp off, as with Docker
	}
	p, err := Compile(sec)
	if err != nil {
		return nil, err
	}
	if profile == "" {
		compiled.Store(key, p)
	}
	return p, nil
}

// compiled holds the default's programs by capabilities. There are as many as
// users choose different sets.
var compiled sync.Map
