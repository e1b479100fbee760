"""Claims: every sentence of the article that an experiment can decide, tested on this kernel.

    catalogue/    each claim's words, the rule that decides, the reading of each outcome   (pure)
    findings      what each experiment measures, with units                                (pure)
    experiments/  small experiments in namespaces of their own, one finding each           (shell)
    runner        runs the experiments that the wanted claims need, the waits side by side (shell)
    decide        finding + rule -> result                                                 (pure)
    render        results -> table, JSON, Markdown                                         (pure)

A claim names the type of finding it judges, and so its experiment. An experiment knows nothing of
claims: it measures, and several claims may read the same finding.
"""
