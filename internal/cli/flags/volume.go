package flags

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Volumes sorts the values of -v into binds (`SOURCE:TARGET[:OPTIONS]`, a
// source that starts with a dot made absolute) and anonymous volumes
// (`TARGET`).
func Volumes(values []string) (binds []string, volumes map[string]struct{}, err error) {
	for _, v := range values {
		source, target, err := splitVolume(v)
		if err != nil {
			return nil, nil, err
		}
		if source == "" {
			if volumes == nil {
				volumes = map[string]struct{}{}
			}
			volumes[target] = struct{}{}
			continue
		}
		_, rest, _ := strings.Cut(v, ":")
		if strings.HasPrefix(source, ".") {
			if source, err = filepath.Abs(source); err != nil {
				return nil, nil, err
			}
		}
		binds = append(binds, source+":"+rest)
	}
	return binds, volumes, nil
}

func splitVolume(v string) (source, target string, err error) {
	if v == "" {
		return "", "", errors.New("invalid empty volume spec; expected [SOURCE:]TARGET[:OPTIONS]")
	}
	parts := strings.Split(v, ":")
	if len(parts) > 3 {
		return "", "", fmt.Errorf("invalid spec: %s: too many colons; use --mount for a path with a colon", v)
	}
	for _, p := range parts {
		if p == "" {
			return "", "", fmt.Errorf("invalid spec: %s: empty section between colons", v)
		}
	}
	if len(parts) == 1 {
		source, target = "", parts[0]
	} else {
		source, target = parts[0], parts[1]
	}
	if !strings.HasPrefix(target, "/") {
		return "", "", fmt.Errorf("invalid volume specification: '%s': invalid mount path: '%s' mount path must be absolute", v, target)
	}
	return source, target, nil
}

// Tmpfs reads `PATH[:OPTIONS]`.
func Tmpfs(values []string) map[string]string {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]string, len(values))
	for _, v := range values {
		path, options, _ := strings.Cut(v, ":")
		out[path] = options
	}
	return out
}
