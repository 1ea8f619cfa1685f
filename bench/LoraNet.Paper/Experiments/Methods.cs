using LoraNet.Lora;
using LoraNet.Models;

namespace LoraNet.Paper.Experiments;

/// <summary>How a model is adapted.</summary>
/// <param name="Name">lora, full or probe.</param>
internal sealed record Method(string Name)
{
    /// <summary>Full fine-tuning: every tensor.</summary>
    public static Method Full { get; } = new("full");

    /// <summary>The new head alone.</summary>
    public static Method Probe { get; } = new("probe");

    /// <summary>LoRA's rank.</summary>
    public int Rank { get; init; }

    /// <summary>LoRA's alpha; the paper keeps it fixed while the rank varies, which fixes the size of the update.</summary>
    public double Alpha { get; init; } = 16;

    /// <summary>LoRA's dropout.</summary>
    public double Dropout { get; init; }

    /// <summary>Adapted modules.</summary>
    public IReadOnlyList<string> Targets { get; init; } = [];

    /// <summary>LoRA.</summary>
    public static Method Lora(int rank, params IReadOnlyList<string> targets) => new("lora") { Rank = rank, Targets = targets };

    /// <summary>Attaches it to a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="head">Modules that every method trains whole, such as a new classification head.</param>
    /// <param name="seed">Seed of A.</param>
    public LoraAdapter Attach(PretrainedModel model, IReadOnlyList<string> head, ulong seed)
    {
        if (Name == "full") return model.Attach(AdapterBuilder.CreateFull(model));
        LoraConfig config = new() { TargetModules = ModuleSelector.Of(Targets), ModulesToSave = head };
        if (Name == "lora") config = config with { Rank = Rank, Alpha = Alpha, Dropout = Dropout };
        return model.AddAdapter(config, seed: seed);
    }
}
