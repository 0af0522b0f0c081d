package main

import "golang.org/x/sys/unix"

const sysMkdir = unix.SYS_MKDIRAT // the older call does not exist
