package image

import (
	"context"

	mobyimage "github.com/moby/moby/api/types/image"
)

// missing is what stands for the ID of a step of the history, as in Docker:
// only the last has one, that of the image.
const missing = "<missing>"

// History returns the steps that made an image, newest first, with the sizes of
// their layers. Layers that the config's history does not mention come first.
func (s *Store) History(ctx context.Context, refOrID string) ([]mobyimage.HistoryResponseItem, error) {
	img, err := s.Get(ctx, refOrID)
	if err != nil {
		return nil, err
	}
	layers := img.Layers
	var items []mobyimage.HistoryResponseItem
	for _, h := range img.Config.History {
		item := mobyimage.HistoryResponseItem{ID: missing, CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer && len(layers) > 0 {
			item.Size, layers = layers[0].Size, layers[1:]
		}
		items = append(items, item)
	}
	for _, l := range layers {
		items = append(items, mobyimage.HistoryResponseItem{ID: missing, Size: l.Size})
	}
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	if len(items) > 0 {
		items[0].ID = img.ID.String()
		items[0].Tags = img.RepoTags
	}
	return items, nil
}
