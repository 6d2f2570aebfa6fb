package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes, beside 0 (done; an empty list too).
const (
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3 // of several things some failed, or not every node has confirmed
	exitAuth        = 4 // not authenticated or not allowed
	exitNotFound    = 5
	exitConflict    = 6
	exitUnreachable = 7 // no answer, or not in time
	exitInterrupted = 130
)

// ExitCode answers what the process should exit with after the error of a command.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return exitFailed
}

// Execute runs the root command, tells an error on standard error, and answers what the process should exit with.
func Execute(ctx context.Context, root *cobra.Command) int {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(wrongFlag)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command ") { // cobra has no type for it, and quotes what was typed
		err = usage("unknown command: see %s --help", root.Name())
	}
	if err != nil {
		_, _ = fmt.Fprintf(root.ErrOrStderr(), "Error: %v\n", err)
	}
	return ExitCode(err)
}

// failure is an error with its exit code.
type failure struct {
	code int
	text string
}

// Error tells what went wrong, why, and what to do.
func (f *failure) Error() string { return f.text }

func failed(code int, format string, args ...any) error {
	return &failure{code: code, text: fmt.Sprintf(format, args...)}
}

func usage(format string, args ...any) error { return failed(exitUsage, format, args...) }

// exitOf answers the exit code for an HTTP status.
func exitOf(status int) int {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return exitAuth
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict:
		return exitConflict
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnreachable
	default:
		return exitFailed
	}
}
