"""A module a table."""

from benchmarks.tables import (
    autoencoders,
    baselines,
    criteria,
    dec,
    den,
    depict,
    digits,
    information,
    mcdc,
    n2d,
    profeat,
    selection,
    st_dac,
    tabular,
    time_to_accuracy,
    vade,
)

TABLES = {
    "time_to_accuracy": time_to_accuracy,
    "tabular": tabular,
    "digits": digits,
    "st_dac": st_dac,
    "autoencoders": autoencoders,
    "mcdc": mcdc,
    "dec": dec,
    "den": den,
    "depict": depict,
    "vade": vade,
    "information": information,
    "n2d": n2d,
    "profeat": profeat,
    "baselines": baselines,
    "selection": selection,
    "criteria": criteria,
}
