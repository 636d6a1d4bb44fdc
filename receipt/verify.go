package receipt

import "time"

func Verify(bundle, policy []byte, now time.Time) Report { panic("receipt") }
