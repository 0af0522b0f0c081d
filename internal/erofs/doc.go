// Package erofs turns a tar archive into an EROFS file system in one pass.
//
// EROFS is the read-only file system of the Linux kernel
// (Documentation/filesystems/erofs.rst; the structures are those of
// fs/erofs/erofs_fs.h, whose names are used here). What FromTar writes has
// 4 KiB blocks and one device; files in it are compressed if the caller wants it.
// Linux has had all it uses since 5.15; the tests mount it on the host and on
// Linux 6.1.
//
// The file, from its start:
//
//	block 0     struct erofs_super_block at byte 1024, and behind it the root
//	            directory's inode, because its number has to fit 16 bits
//	blocks 1..  in the order of arrival: the data of a file as it comes out of
//	            the tar, and between the data the blocks in which inodes stand,
//	            each with its xattrs and with the end of its file that does not
//	            fill a block, and the recipe of the archive (recipe.go)
//	the end     directories, when all their entries are known
//
// meta_blkaddr is 0, so an inode's number (nid) is its place in the file
// divided by 32, and inodes may stand anywhere. A regular file is written
// once and forgotten but for its number: what is kept in memory until the end
// is names and directories.
//
// Compressed are files of 16 KiB to 1 GiB, in extents of 64 KiB (compress.go),
// but not programs: their pages are wanted one by one, and at once, while a
// process starts.
//
// The same archive gives the same bytes: nothing but the archive goes in.
package erofs
