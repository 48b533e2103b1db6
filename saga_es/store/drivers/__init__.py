"""One object per database that answers every question of dialect."""
