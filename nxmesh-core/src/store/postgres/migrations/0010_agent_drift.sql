-- What an agent told of its last drift, with diffs: apart from its status, which is written with
-- every report.
ALTER TABLE agents ADD COLUMN drift TEXT;
