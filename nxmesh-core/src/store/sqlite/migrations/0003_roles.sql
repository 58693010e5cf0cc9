-- Who belonged to an organization before there were roles had made it.
ALTER TABLE members ADD COLUMN role TEXT NOT NULL DEFAULT 'owner';
