//go:build !linux

package main

import (
	"errors"
	"syscall"
)

func takeCores() (cores, error) {
	return cores{}, errors.New("needs Linux: it binds processes to cores and reads what they use from /proc")
}

func onCore(_ int, do func() error) error { return do() }

func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
