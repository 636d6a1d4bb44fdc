package store

import "countersign/internal/hub"

// dropTenant ends what opens or speaks for a tenant that is deleted: a later one of the same name inherits none of it. Its
// keys are kept, retired, as evidence of what they signed.
func dropTenant(t *tx, name string, now hub.Micros) error {
	for _, change := range []string{
		`UPDATE access_token SET revoked = $2 WHERE tenant = $1 AND revoked = 0`,
		`UPDATE signing_key SET state = 'retired', changed = $2 WHERE tenant = $1 AND state NOT IN ('retired', 'compromised')`,
	} {
		if _, err := t.exec(change, name, int64(now)); err != nil {
			return err
		}
	}
	for _, table := range []string{"oauth_access", "oauth_assertion", "secret", "idempotency"} {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE tenant = $1`, name); err != nil {
			return err
		}
	}
	return nil
}
