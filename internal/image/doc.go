// Package image holds what containers are made from: it pulls images from
// registries, loads and saves archives, imports root file systems, and knows
// each image by its names and its ID.
//
// Manifests and configs are blobs in containerd's content store; their metadata,
// the leases that protect work in progress and the garbage collection are
// containerd's, on bbolt. Layers are handed, uncompressed, to internal/layer,
// which keeps each once as an EROFS file that can give its tar back. So their
// blobs are there only while a layer comes (stream.go), or when an earlier
// version has left them together with layers that cannot.
//
// An image is a manifest for one platform, and its ID is the digest of its
// config, as in Docker. The records of the metadata store point at manifests;
// record.go says how they are named. Content and layers live for as long as a
// record or a lease reaches them (gc.go).
//
// All that comes from a registry or an archive is hostile until its digest has
// been verified, and hostile in form after that too: manifest.go has the limits.
package image
