package api

import (
	"net/http"
	"runtime"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/version"
)

func (s *server) systemRoutes() []route {
	return []route{
		{"HEAD", "/_ping", s.ping},
		{"GET", "/_ping", s.ping},
		{"GET", "/version", s.version},
		{"GET", "/info", s.info},
		{"GET", "/events", s.events},
		{"GET", "/system/df", s.diskUsage},
		{"GET", "/metrics", s.scrape},
		{"POST", "/auth", s.auth},
	}
}

// ping tells that the daemon is there, and in its headers what it can do.
func (s *server) ping(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Builder-Version", "1") // docker's CLI must not begin a BuildKit session
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	_, err := w.Write([]byte("OK"))
	return err
}

func (s *server) version(w http.ResponseWriter, r *http.Request) error {
	v := system.VersionResponse{
		Platform:      system.PlatformInfo{Name: "Abode"},
		Version:       version.Version,
		APIVersion:    newestVersion.String(),
		MinAPIVersion: oldestVersion.String(),
		Os:            runtime.GOOS,
		Arch:          runtime.GOARCH,
		GoVersion:     runtime.Version(),
		KernelVersion: kernelRelease(),
	}
	v.Components = []system.ComponentVersion{{
		Name:    "Engine",
		Version: v.Version,
		Details: map[string]string{
			"ApiVersion":    v.APIVersion,
			"Arch":          v.Arch,
			"GoVersion":     v.GoVersion,
			"KernelVersion": v.KernelVersion,
			"MinAPIVersion": v.MinAPIVersion,
			"Os":            v.Os,
		},
	}}
	return writeJSON(w, http.StatusOK, v)
}

// kernelRelease is the host's, as uname -r tells it.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (s *server) info(w http.ResponseWriter, r *http.Request) error {
	info, err := s.engine.Info(r.Context())
	if err != nil {
		return err
	}
	if info.Swarm.LocalNodeState == "" {
		info.Swarm.LocalNodeState = swarm.LocalNodeStateInactive // else the CLI shows a node without a name
	}
	return writeJSON(w, http.StatusOK, info)
}

// scrape answers Prometheus, in the format that it asks for.
func (s *server) scrape(w http.ResponseWriter, r *http.Request) error {
	if s.metrics == nil {
		return notFound("page not found")
	}
	s.metrics.ServeHTTP(w, r)
	return nil
}
