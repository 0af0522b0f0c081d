package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"
)

// tmpfsDefaults are Docker's.
var tmpfsDefaults = []string{"noexec", "nosuid", "nodev"}

// opposites of mount options: a later one takes the place of an earlier.
var opposites = map[string]string{
	"exec": "noexec", "noexec": "exec", "suid": "nosuid", "nosuid": "suid", "dev": "nodev", "nodev": "dev",
	"ro": "rw", "rw": "ro", "sync": "async", "async": "sync", "atime": "noatime", "noatime": "atime",
}

// tmpfsOptions merges the options of --tmpfs, separated by commas, with the
// defaults. What a kernel does not know it refuses at the start.
func tmpfsOptions(s string) []string {
	list := slices.Clone(tmpfsDefaults)
	for o := range strings.SplitSeq(s, ",") {
		if o = strings.TrimSpace(o); o == "" {
			continue
		}
		key, _, _ := strings.Cut(o, "=")
		list = slices.DeleteFunc(list, func(have string) bool {
			k, _, _ := strings.Cut(have, "=")
			return k == key || have == opposites[o]
		})
		list = append(list, o)
	}
	return list
}

// tmpfsMount reads the options of a --mount of type tmpfs.
func tmpfsMount(m mount.Mount) ([]string, error) {
	list := slices.Clone(tmpfsDefaults)
	if m.ReadOnly {
		list = append(list, "ro")
	}
	o := m.TmpfsOptions
	if o == nil {
		return list, nil
	}
	if o.SizeBytes < 0 {
		return nil, invalid("invalid mount config for type \"tmpfs\": the size must not be negative")
	}
	if o.SizeBytes > 0 {
		list = append(list, fmt.Sprintf("size=%d", o.SizeBytes))
	}
	if o.Mode != 0 {
		list = append(list, fmt.Sprintf("mode=%o", uint32(o.Mode)))
	}
	for _, kv := range o.Options {
		switch len(kv) {
		case 1, 2:
			list = strings.Split(strings.Join(tmpfsOptions(strings.Join(append(list, strings.Join(kv, "=")), ",")), ","), ",")
		default:
			return nil, invalid("invalid mount config for type \"tmpfs\": invalid option array length")
		}
	}
	return list, nil
}
