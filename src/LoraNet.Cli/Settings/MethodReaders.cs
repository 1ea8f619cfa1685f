using LoraNet.Cli.Output;
using LoraNet.Lora;

namespace LoraNet.Cli.Settings;

/// <summary>The settings of methods other than LoRA: between setting values and the library's records.</summary>
internal static class MethodReaders
{
    // Which methods know a setting that LoRA does not have.
    private static readonly (string Setting, string[] Methods)[] _own =
    [
        ("feedforward-modules", ["ia3"]), ("rank-dropout", ["loha", "lokr"]), ("module-dropout", ["loha", "lokr"]), ("rank-dropout-scale", ["lokr"]),
        ("decompose-both", ["lokr"]), ("decompose-factor", ["lokr"]), ("projection-seed", ["vera"]), ("save-projection", ["vera"]), ("d-initial", ["vera"]),
        ("target-rank", ["adalora"]), ("tinit", ["adalora"]), ("tfinal", ["adalora"]), ("delta-t", ["adalora"]), ("orth-reg-weight", ["adalora"]),
    ];

    /// <summary>Names of these settings.</summary>
    public static IEnumerable<string> Names => _own.Select(o => o.Setting).Prepend("method");

    /// <summary>The method; null for LoRA.</summary>
    /// <exception cref="LoraNetException">A setting belongs to another method.</exception>
    public static MethodSettings? Read(SettingValues v)
    {
        string method = v.Text("method")?.ToLowerInvariant() ?? "lora";
        foreach ((string setting, string[] methods) in _own)
            if (v.IsSet(setting) && !methods.Contains(method) && !IsNeutral(setting, v.Text(setting)!)) throw v.Error(setting, $"--{setting} has no meaning with --method {method}.", $"Leave it out, or use --method {string.Join(" or ", methods)}.");
        return method switch
        {
            "vera" => new VeraSettings { ProjectionSeed = v.Integer("projection-seed") ?? 0, SaveProjection = !v.IsSet("save-projection") || v.Switch("save-projection"), InitialD = v.Number("d-initial") ?? 0.1 },
            "ia3" => new Ia3Settings { FeedForwardModules = v.Text("feedforward-modules") is { } modules ? ModuleSelector.Parse(modules) : null },
            "loha" => new LoHaSettings { RankDropout = v.Number("rank-dropout") ?? 0, ModuleDropout = v.Number("module-dropout") ?? 0 },
            "lokr" => new LoKrSettings
            {
                RankDropout = v.Number("rank-dropout") ?? 0,
                ModuleDropout = v.Number("module-dropout") ?? 0,
                RankDropoutScale = v.Switch("rank-dropout-scale"),
                DecomposeBoth = v.Switch("decompose-both"),
                DecomposeFactor = v.Integer("decompose-factor") ?? -1,
            },
            "adalora" => new AdaLoraSettings
            {
                TargetRank = v.Integer("target-rank") ?? 8,
                InitialSteps = v.Integer("tinit") ?? 0,
                FinalSteps = v.Integer("tfinal") ?? 0,
                Interval = v.Integer("delta-t") ?? 1,
                OrthogonalWeight = v.Number("orth-reg-weight") ?? 0.5,
            },
            _ => null,
        };
    }

    // A resolved recipe lists the defaults of all settings.
    private static bool IsNeutral(string setting, string text) => TrainSettings.Find(setting).Default is { } value ? text.Equals(value, StringComparison.OrdinalIgnoreCase) : text.Equals("false", StringComparison.OrdinalIgnoreCase);

    /// <summary>Rank of a method when nothing sets it.</summary>
    public static int DefaultRank(MethodSettings? method) => method switch { VeraSettings => 256, AdaLoraSettings => 12, _ => 16 };

    /// <summary>A stored adapter's method as setting texts; empty for LoRA.</summary>
    public static IEnumerable<(string Name, string Text)> Text(MethodSettings? method)
    {
        if (method is null) yield break;
        yield return ("method", method.PeftType.ToLowerInvariant());
        switch (method)
        {
            case VeraSettings v:
                yield return ("projection-seed", Whole(v.ProjectionSeed));
                yield return ("save-projection", Bool(v.SaveProjection));
                yield return ("d-initial", Format.Exact(v.InitialD));
                break;
            case Ia3Settings { FeedForwardModules: { } modules }:
                yield return ("feedforward-modules", modules.ToString());
                break;
            case MatrixSettings m:
                yield return ("rank-dropout", Format.Exact(m.RankDropout));
                yield return ("module-dropout", Format.Exact(m.ModuleDropout));
                if (m is not LoKrSettings k) break;
                yield return ("rank-dropout-scale", Bool(k.RankDropoutScale));
                yield return ("decompose-both", Bool(k.DecomposeBoth));
                yield return ("decompose-factor", Whole(k.DecomposeFactor));
                break;
            case AdaLoraSettings a:
                yield return ("target-rank", Whole(a.TargetRank));
                yield return ("tinit", Whole(a.InitialSteps));
                yield return ("tfinal", Whole(a.FinalSteps));
                yield return ("delta-t", Whole(a.Interval));
                yield return ("orth-reg-weight", Format.Exact(a.OrthogonalWeight));
                break;
        }

        static string Bool(bool value) => value ? "true" : "false";
        static string Whole(int value) => value.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }
}
