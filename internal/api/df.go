package api

import (
	"net/http"
	"slices"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"

	"github.com/abode-run/abode/internal/engine"
)

// diskUsage tells what images, containers and volumes take. Bytes that images
// share count once for each of them, so the sum may be more than the disk has lost.
func (s *server) diskUsage(w http.ResponseWriter, r *http.Request) error {
	kinds := r.URL.Query()["type"]
	wanted := func(k system.DiskUsageObject) bool { return len(kinds) == 0 || slices.Contains(kinds, string(k)) }
	for _, k := range kinds {
		switch system.DiskUsageObject(k) {
		case system.ContainerObject, system.ImageObject, system.VolumeObject, system.BuildCacheObject:
		default:
			return invalid("unknown object type: " + k)
		}
	}
	var du system.DiskUsage
	var err error
	if wanted(system.ImageObject) {
		if du.ImageUsage, err = s.imageUsage(r); err != nil {
			return err
		}
	}
	if wanted(system.ContainerObject) {
		if du.ContainerUsage, err = s.containerUsage(r); err != nil {
			return err
		}
	}
	if wanted(system.VolumeObject) {
		if du.VolumeUsage, err = s.volumeUsage(r); err != nil {
			return err
		}
	}
	if wanted(system.BuildCacheObject) {
		du.BuildCacheUsage = &build.DiskUsage{}
	}
	if requested(r).before(52) {
		return writeJSON(w, http.StatusOK, oldDiskUsage(du))
	}
	if !queryBool(r, "verbose") {
		if du.ImageUsage != nil {
			du.ImageUsage.Items = nil
		}
		if du.ContainerUsage != nil {
			du.ContainerUsage.Items = nil
		}
		if du.VolumeUsage != nil {
			du.VolumeUsage.Items = nil
		}
	}
	return writeJSON(w, http.StatusOK, du)
}

func (s *server) imageUsage(r *http.Request) (*apiimage.DiskUsage, error) {
	list, err := s.images(r.Context(), nil)
	if err != nil {
		return nil, err
	}
	u := &apiimage.DiskUsage{Items: list, TotalCount: int64(len(list))}
	for _, img := range list {
		u.TotalSize += img.Size
		if img.Containers > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += img.Size
		}
	}
	return u, nil
}

func (s *server) containerUsage(r *http.Request) (*container.DiskUsage, error) {
	list, err := s.engine.List(r.Context(), engine.ListOptions{All: true, Size: true})
	if err != nil {
		return nil, err
	}
	u := &container.DiskUsage{Items: list, TotalCount: int64(len(list))}
	for _, c := range list {
		u.TotalSize += c.SizeRw
		switch c.State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			u.ActiveCount++
		default:
			u.Reclaimable += c.SizeRw
		}
	}
	return u, nil
}

func (s *server) volumeUsage(r *http.Request) (*apivolume.DiskUsage, error) {
	list, err := s.engine.Volumes().List()
	if err != nil {
		return nil, err
	}
	used, err := s.volumeUsers(r)
	if err != nil {
		return nil, err
	}
	u := &apivolume.DiskUsage{TotalCount: int64(len(list))}
	for _, v := range list {
		size, err := s.engine.Volumes().Usage(v.Name)
		if err != nil {
			continue // removed since
		}
		item := apiVolume(v)
		item.UsageData = &apivolume.UsageData{Size: size, RefCount: used[v.Name]}
		u.Items = append(u.Items, item)
		u.TotalSize += size
		if used[v.Name] > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += size
		}
	}
	return u, nil
}

// usage is system.DiskUsage as versions before 1.52 have it.
type usage struct {
	LayersSize int64
	Images     []imageSummary
	Containers []container.Summary
	Volumes    []apivolume.Volume
	BuildCache []struct{}
}

func oldDiskUsage(du system.DiskUsage) usage {
	old := usage{Images: []imageSummary{}, Containers: []container.Summary{}, Volumes: []apivolume.Volume{}, BuildCache: []struct{}{}}
	if u := du.ImageUsage; u != nil {
		old.LayersSize, old.Images = u.TotalSize, oldImages(u.Items)
	}
	if u := du.ContainerUsage; u != nil {
		old.Containers = nonNil(u.Items)
	}
	if u := du.VolumeUsage; u != nil {
		old.Volumes = nonNil(u.Items)
	}
	return old
}
